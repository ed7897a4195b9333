-- The platform's own record of the databases, in a database that no agent may enter.

create table databases (
    id           text primary key check (id ~ '^db_[0-9a-f]{12}$'),
    owner        text not null,
    name         text not null,
    source       text,
    state        text not null check (state in ('creating', 'ready', 'paused', 'frozen', 'deleting')),
    level        text not null default 'open' check (level in ('open', 'reduced', 'closed')),
    size         bigint not null default 0,
    size_limit   bigint not null,
    idle         double precision not null,
    created_at   timestamptz not null default clock_timestamp(),
    expires_at   timestamptz,
    used_at      timestamptz not null default clock_timestamp()
);

-- A name is free again as soon as its deletion has begun.
create unique index on databases (owner, name) where state <> 'deleting';
