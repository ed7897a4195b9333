-- The base that a checkpoint builds on in the end. Tokens of one base mean nothing to another, so
-- an alias, its cycles and the rows that they read are all of one root.

alter table checkpoints add column root text;

with recursive chain as (
    select id, id as root from checkpoints where base is null and parent is null
    union
    select c.id, chain.root from checkpoints c join chain on coalesce(c.base, c.parent) = chain.id
)
update checkpoints c set root = chain.root from chain where chain.id = c.id;
update checkpoints set root = id where root is null;

alter table checkpoints
    alter column root set not null,
    add constraint checkpoints_root_fkey foreign key (root) references checkpoints;

create function set_root() returns trigger language plpgsql as $$
begin
    new.root := coalesce(
        (select root from checkpoints where id = coalesce(new.base, new.parent)), new.id);
    return new;
end $$;
create trigger set_root before insert on checkpoints for each row execute function set_root();

-- When an alias first had an answer to give: what never had one is nobody's yet.
alter table aliases add column served_at timestamptz;
update aliases set served_at = updated_at;

alter table releases drop constraint releases_action_check;
alter table releases add constraint releases_action_check check (action in
    ('create', 'canary', 'step', 'hold', 'resume', 'promote', 'abort', 'rollback', 'switch'));
