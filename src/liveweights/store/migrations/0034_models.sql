-- Models that were added to a running service, and where every model stands on every instance.
create table models (
    name        text primary key check (length(name) between 1 and 128),
    settings    jsonb not null check (jsonb_typeof(settings) = 'object'),
    version     integer not null default 1,
    added_at    timestamptz not null default now(),
    changed_at  timestamptz not null default now(),
    removed_at  timestamptz
);
comment on table models is
'Models beside those of the settings file, each with the keys of a table [models.NAME]. One that was removed keeps its row, so that nothing else answers under its name. See `liveweights models`.';

create table model_states (
    instance    text not null,
    model       text not null,
    state       text not null check (state in ('loading', 'ready', 'cold', 'failed', 'hosted')),
    version     integer,        -- of the row that it goes by; null: of the settings file
    error       text,
    updated_at  timestamptz not null default now(),
    primary key (instance, model)
);
comment on table model_states is
'Whether an instance can answer for a model now. One whose rows are older than a few heartbeats is gone.';
