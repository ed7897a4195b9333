-- What a cycle claimed, kept whatever becomes of the rows: how many answers, and a hash for every
-- reaction. A hash says nothing to who does not know the answer's random id; with all of them it can
-- be proved later that a reaction was read, or that none other was.

create function reaction_leaf(tenant text, generation text, feedback text) returns bytea
language sql immutable parallel safe as $$
    select sha256('\x00'::bytea || sha256(convert_to(tenant, 'UTF8'))
        || sha256(convert_to(generation, 'UTF8')) || sha256(convert_to(feedback, 'UTF8')))
$$;

create table seals (
    cycle      bigint primary key references cycles,
    trained    integer not null,
    held_back  integer not null,
    leaves     bytea[] not null
);

-- Of cycles from before this, what is still there.
insert into seals
select r.cycle,
    count(distinct r.generation) filter (where r.split = 'train'),
    count(distinct r.generation) filter (where r.split = 'held_back'),
    coalesce(array_agg(leaf order by leaf) filter (where leaf is not null), '{}')
from cycle_rows r left join lateral (
    select reaction_leaf(f.tenant, f.generation, f.id) as leaf from feedback f
    where f.day = r.day and f.generation = r.generation and f.seq = r.feedback
) named on true
group by r.cycle;

create view sealed as select cycle, trained, held_back, leaves from seals;
comment on view sealed is
'What each cycle claimed: answers to train on and to be judged by, and a hash of every reaction (reaction_leaf), in order of the hash.';
