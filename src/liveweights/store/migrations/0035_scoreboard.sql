-- Scores of models: what was asked under which conditions, and what came of each attempt.

create table score_runs (
    id            bigint generated always as identity primary key,
    created_at    timestamptz not null default now(),
    source        text not null,              -- own, or whose results these are
    suite         text not null,
    version       text not null,
    content       text not null,              -- a digest of what is asked, and of how it is scored
    harness       text not null,
    samples       int not null check (samples > 0),
    cases         int not null check (cases > 0),
    seconds       double precision not null,  -- at most, of one attempt
    temperature   double precision not null,
    max_tokens    int not null,
    seed          bigint not null,
    repeat        int not null default 0 check (repeat >= 0),
    model         text not null,
    checkpoint    text,
    runner        text not null,
    hardware      text not null,
    currency      text,
    unique nulls not distinct (
        source, suite, version, content, harness, samples, cases, seconds, temperature, max_tokens,
        seed, repeat, model, checkpoint
    )
);
comment on table score_runs is
'A model under one set of conditions of a suite. See `liveweights scoreboard`.';

create table score_results (
    run                bigint not null references score_runs on delete cascade,
    case_id            text not null,
    sample             int not null check (sample >= 0),
    case_group         text,                  -- what the case depends on
    score              double precision not null check (score between 0 and 1),
    seconds            double precision,
    prompt_tokens      bigint,
    completion_tokens  bigint,
    nanos              bigint,                -- billionths of the run's currency
    detail             text not null default '',
    primary key (run, case_id, sample)
);
comment on table score_results is
'What came of one attempt at one case; `score` is in [0, 1].';
