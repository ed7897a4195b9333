-- How much of the limits and budgets of keys and tenants is left, for all processes together.
create table allowances (
    owner       text not null,          -- 'key ID' or 'tenant NAME'
    name        text not null,          -- which limit: requests, tokens, ..., or a budget's period
    begins      timestamptz not null,   -- since when it counts: a day, a week, a month
    most        bigint not null,        -- requests, tokens, or billionths of the tenant's currency
    rest        bigint not null,        -- what nobody has; below 0 where more was used than there was
    used        bigint not null default 0,
    counted_at  timestamptz not null default clock_timestamp(),  -- when what comes back was counted
    warned      boolean not null default false,
    primary key (owner, name, begins)
) with (fillfactor = 50);
comment on table allowances is
'What is left of limits and budgets: rest + all leases + used = most, where limits per minute come back. See docs/keys.md.';

create table allowance_leases (
    owner       text not null,
    name        text not null,
    begins      timestamptz not null,
    instance    text not null,          -- the process that has it
    amount      bigint not null check (amount >= 0),
    until       timestamptz not null,   -- then it goes back, unless the process is heard of before
    primary key (owner, name, begins, instance),
    foreign key (owner, name, begins) references allowances on delete cascade
) with (fillfactor = 50);
comment on table allowance_leases is
'Parts of allowances that a process gives its requests from.';

-- Prepaid credit: a tenant with a row here is answered until it is used up.
create table tenant_credits (
    number      bigint generated always as identity primary key,
    tenant      text not null references tenants (name),
    at          timestamptz not null default now(),
    nanos       bigint not null check (nanos <> 0),  -- billionths of its currency; below 0: taken back
    why         text not null
);
create index on tenant_credits (tenant);
comment on table tenant_credits is
'What tenants have paid in advance. Append-only.';

create function tell_of_credit() returns trigger language plpgsql as $$
begin
    perform pg_notify('liveweights_keys', 'tenant ' || left(new.tenant, 1000));
    return null;
end $$;
create trigger tell_of_credit after insert on tenant_credits
    for each row execute function tell_of_credit();
