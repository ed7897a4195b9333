-- Users whose rows were removed at their request, and the cycles that had read them: from these
-- follow the checkpoints that the rows influenced, also one that is still being made.
-- The user is kept as a hash only, so that asking again finds the checkpoints again.

create table forgotten (
    id           bigint generated always as identity primary key,
    user_hash    bytea not null,
    generations  bigint not null,
    feedback     bigint not null,
    cycles       bigint[] not null,
    at           timestamptz not null default now()
);
create index forgotten_by_user on forgotten (user_hash);
