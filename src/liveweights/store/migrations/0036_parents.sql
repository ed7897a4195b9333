-- A merge has several parents. What one of them learnt from is in it.
create table checkpoint_parents (
    checkpoint  text not null references checkpoints on delete cascade,
    parent      text not null references checkpoints,
    part        double precision not null,
    primary key (checkpoint, parent)
);
create index checkpoint_parents_by_parent on checkpoint_parents (parent);
comment on table checkpoint_parents is
'The checkpoints that a merge was made of, each with the weight it had.';

create view descent as
select id, parent from checkpoints where parent is not null
union select id, base from checkpoints where base is not null
union select checkpoint, parent from checkpoint_parents;
comment on view descent is
'Every checkpoint with each that it was made from: its parent, what it is on, and of a merge all of them. Whatever one has learnt from is in all that come after it.';

create or replace function withdraw_turns(of_alias text, live text) returns void language sql as $$
    with recursive chain as (
        select live as id
        union
        select d.parent from descent d join chain on d.id = chain.id
    )
    update cycles
    set withdrawn_at = case when candidate in (select id from chain) then null else now() end
    where alias = of_alias and outcome = 'promoted'
      and (withdrawn_at is null) = (candidate not in (select id from chain));
$$;
