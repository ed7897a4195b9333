-- What others may read of the cycles, and what they may do to them: the table is `cycle`'s own.

create view turns as
select id, alias, incumbent, candidate, outcome, reason, learning, verdict, canary,
    started_at, ended_at, withdrawn_at
from cycles;
comment on view turns is
'One row per turn of the circle, with what it came to. outcome is null while it is open; withdrawn_at is set while what it made is no part of what is live.';

-- A cycle has consumed its rows if it is open, or if what it made is part of what is live; those of
-- any other are unread again.
create view consumed as
select r.cycle, r.day, r.generation, r.feedback, r.split
from cycle_rows r join cycles c on c.id = r.cycle
where c.outcome is null or c.outcome = 'promoted' and c.withdrawn_at is null;
comment on view consumed is
'Which answers and reactions are read: by a cycle that is open, or that made part of what is live.';

-- Marks the promoted cycles of an alias whose work is not in what is live now, and no others.
create function withdraw_turns(of_alias text, live text) returns void language sql as $$
    with recursive chain as (
        select id, parent from checkpoints where id = live
        union
        select c.id, c.parent from checkpoints c join chain on c.id = chain.parent
    )
    update cycles
    set withdrawn_at = case when candidate in (select id from chain) then null else now() end
    where alias = of_alias and outcome = 'promoted'
      and (withdrawn_at is null) = (candidate not in (select id from chain));
$$;
