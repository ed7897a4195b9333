-- The circle's tables. Generations and feedback are append-only.

create table checkpoints (
    id          text primary key,
    kind        text not null check (kind in ('base', 'adapter', 'full')),
    folder      text not null,
    base        text references checkpoints,
    parent      text references checkpoints,
    card        jsonb not null,
    created_at  timestamptz not null default now(),
    check (kind <> 'adapter' or base is not null)
);

-- A public model name. Requests go to `live`, or for a share of sessions to `canary`.
create table aliases (
    name          text primary key,
    live          text not null references checkpoints,
    canary        text references checkpoints,
    canary_share  real not null default 0 check (canary_share between 0 and 1),
    version       bigint not null default 1,
    updated_at    timestamptz not null default now(),
    check (canary is distinct from live)
);

-- Every change of an alias, with the numbers that made it.
create table releases (
    id          bigint generated always as identity primary key,
    alias       text not null references aliases,
    action      text not null check (action in ('create', 'canary', 'promote', 'abort', 'rollback')),
    checkpoint  text not null references checkpoints,
    previous    text references checkpoints,
    cycle       bigint,
    reason      text not null,
    evidence    jsonb not null default '{}',
    at          timestamptz not null default now()
);

-- What an API instance holds in its engine; a heartbeat keeps the row alive.
create table deployments (
    instance    text not null,
    checkpoint  text not null references checkpoints,
    state       text not null check (state in ('loading', 'ready', 'failed', 'draining')),
    probe       jsonb,
    error       text,
    updated_at  timestamptz not null default now(),
    primary key (instance, checkpoint)
);

-- Checkpoints that an instance should hold although no alias points at them (a gate's candidate).
create table warm (
    checkpoint  text primary key references checkpoints,
    until       timestamptz not null
);

create table generations (
    id              text primary key,
    created_at      timestamptz not null,
    alias           text not null,
    checkpoint      text not null,
    endpoint        text not null,
    prompt_ids      integer[] not null,
    output_ids      integer[] not null,
    logprobs        real[] not null,
    raw_logprobs    real[] not null,
    output          text not null,
    finish_reason   text not null,
    temperature     real not null,
    top_p           real not null,
    seed            bigint,
    max_tokens      integer not null,
    tenant          text not null,
    user_id         text,
    session         text,
    surface         text not null,
    language        text not null,
    consent         boolean not null,
    healed          text not null,
    first_token_ms  real not null,
    total_ms        real not null,
    metadata        jsonb not null
);
create index generations_by_alias on generations (alias, created_at);
create index generations_by_user on generations (tenant, user_id) where user_id is not null;

create table feedback (
    seq          bigint generated always as identity primary key,
    tenant       text not null,
    id           text not null,
    generation   text not null references generations,
    signal       text not null,
    value        double precision,
    text         text,
    received_at  timestamptz not null,
    unique (tenant, id)
);
create index feedback_by_generation on feedback (generation);

-- One turn of the circle. `state` is where it stands; the rest is what each step decided.
create table cycles (
    id           bigint generated always as identity primary key,
    alias        text not null references aliases,
    state        text not null,
    incumbent    text not null references checkpoints,
    candidate    text references checkpoints,
    outcome      text,
    reason       text,
    settings     jsonb not null,
    learning     jsonb,
    verdict      jsonb,
    canary       jsonb,
    started_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    ended_at     timestamptz
);
create unique index one_open_cycle on cycles (alias) where ended_at is null;

-- Who may advance an alias's cycle. Taken over when it expires.
create table leases (
    name     text primary key,
    owner    text not null,
    expires  timestamptz not null
);

-- Which generation and which feedback a cycle read, and for what: this is lineage.
create table cycle_rows (
    cycle       bigint not null references cycles,
    generation  text not null references generations,
    feedback    bigint references feedback,
    split       text not null check (split in ('train', 'held_back')),
    unique nulls not distinct (cycle, generation, feedback)
);
create index cycle_rows_by_feedback on cycle_rows (feedback) where feedback is not null;
create index cycle_rows_by_generation on cycle_rows (generation);

-- Running reward per segment (alias, surface, language), exponentially forgetting.
create table baselines (
    cycle    bigint not null references cycles,
    segment  text not null,
    weight   double precision not null,
    total    double precision not null,
    primary key (cycle, segment)
);
