-- A canary goes up in steps, may be held, and may begin as a shadow that nobody sees.

alter table aliases
    add column shadow_share real not null default 0 check (shadow_share between 0 and 1),
    add column held boolean not null default false,
    -- When the canary's share last changed, or its hold ended.
    add column stepped_at timestamptz;

alter table releases drop constraint releases_action_check;
alter table releases
    add column share real,
    add constraint releases_action_check check (action in
        ('create', 'canary', 'step', 'hold', 'resume', 'promote', 'abort', 'rollback'));

-- What a canary in the shadow answered to a request that the live checkpoint answered too. Never
-- learnt from. No reference to `generations`: the two are written by different hands.
create table shadow_answers (
    generation      text not null,
    checkpoint      text not null references checkpoints,
    alias           text not null,
    created_at      timestamptz not null,
    session         text,
    output          text not null,
    finish_reason   text not null,
    total_ms        real not null,
    primary key (generation, checkpoint)
);
create index shadow_answers_by_checkpoint on shadow_answers (checkpoint, created_at);
