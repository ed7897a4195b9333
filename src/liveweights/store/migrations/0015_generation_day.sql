-- As before, at a third of the cost: it checks every row that is written, and there a regular
-- expression works out its automaton anew each time.
create or replace function generation_day(id text) returns date
language sql immutable parallel safe as $$
    select case
        when id like '%\_0___________7___________________'
            and ltrim(right(id, 32), '0123456789abcdef') = ''
        then date '1970-01-01'
            + (('x0000' || left(right(id, 32), 12))::bit(64)::bigint / 86400000)::int
        else date '1970-01-01' end
$$;
