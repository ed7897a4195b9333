-- Rows that Postgres refused, each for itself, so that they hold up no others. Append-only but for
-- what `liveweights quarantine` takes out again.
create table quarantine (
    number      bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    kind        text not null check (kind in ('generation', 'feedback')),
    id          text not null,
    generation  text not null,  -- the answer: itself, or what the feedback is about
    tenant      text not null,
    user_id     text,           -- of a generation
    reason      text not null,
    form        text not null,  -- how `data` is to be read
    data        bytea not null
);
comment on table quarantine is
'Generations and feedback that Postgres refused to store, with the reason. See `liveweights doctor` and `liveweights quarantine`.';
