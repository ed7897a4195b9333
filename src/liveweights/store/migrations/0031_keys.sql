-- Who may call, and how much: tenants and their API keys.
create table tenants (
    name        text primary key check (name <> ''),
    created_at  timestamptz not null default now(),
    removed_at  timestamptz,                    -- the row stays: a name is never used again
    time_zone   text not null default 'UTC',    -- in which its days, weeks and months begin
    currency    text not null default 'USD' check (currency ~ '^[A-Z]{3}$'),
    plan        text not null default '',       -- whose prices it pays; empty: those of everybody
    note        text not null default '',
    limits      jsonb,                          -- of each of its keys; null: the settings'
    budgets     jsonb not null default '[]'     -- of all its keys together
);
comment on table tenants is
'Who is served and billed. See `liveweights tenants`.';

create table api_keys (
    id              text primary key check (id ~ '^[a-z2-7]{8}$'),  -- its visible part
    tenant          text not null references tenants (name),
    name            text not null default '',
    created_at      timestamptz not null default now(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    revoked_why     text,
    rights          jsonb not null default '{}',
    salt            bytea not null,
    hash            bytea not null,
    rotated_at      timestamptz,
    previous_salt   bytea,                      -- what the key was before it was rotated
    previous_hash   bytea,
    previous_until  timestamptz,                -- and until when that is still taken
    check (revoked_why is null or revoked_at is not null),
    check (num_nulls(previous_salt, previous_hash, previous_until) in (0, 3))
);
create index on api_keys (tenant);
comment on table api_keys is
'API keys: what each may do, and a salted hash of its secret, which is stored nowhere. See `liveweights keys`.';

-- Every process that answers requests hears of a change, whoever makes it.
create function tell_of_key() returns trigger language plpgsql as $$
begin
    perform pg_notify('liveweights_keys', 'key ' || coalesce(new.id, old.id));
    return null;
end $$;
create trigger tell_of_key after insert or update or delete on api_keys
    for each row execute function tell_of_key();

create function tell_of_tenant() returns trigger language plpgsql as $$
begin
    perform pg_notify('liveweights_keys', 'tenant ' || left(coalesce(new.name, old.name), 1000));
    return null;
end $$;
create trigger tell_of_tenant after insert or update or delete on tenants
    for each row execute function tell_of_tenant();
