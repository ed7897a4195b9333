-- While a row is here, the alias begins no cycle, and its open one goes no further.
create table pauses (
    alias       text primary key,
    since       timestamptz not null default clock_timestamp(),
    actor       text not null,              -- a user of the console, or a command
    reason      text not null check (length(reason) between 1 and 500)
);
comment on table pauses is
'Models whose learning is paused, by whom and why. Every worker looks before each step; see `liveweights cycle --pause`.';
