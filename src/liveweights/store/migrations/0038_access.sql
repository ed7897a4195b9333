-- Who may use the console, and what was changed through it.
create table console_users (
    name        text primary key check (length(name) between 1 and 128),
    role        text not null check (role in ('viewer', 'rater', 'operator', 'admin')),
    tenant      text check (length(tenant) between 1 and 512),   -- null: sees all of them
    password    text,                       -- argon2id, as a PHC string; null: none was chosen yet
    version     integer not null default 1, -- of the sessions: another one ends all before it
    created_at  timestamptz not null default clock_timestamp(),
    changed_at  timestamptz not null default clock_timestamp(),
    check (tenant is null or role in ('viewer', 'rater'))
);
comment on table console_users is
'People who sign in to the console, each with a role. See `liveweights users`.';

create table console_invitations (
    digest      bytea primary key check (length(digest) = 32),
    name        text not null references console_users (name) on delete cascade,
    expires_at  timestamptz not null
);
comment on table console_invitations is
'Links that were not used yet, by the SHA-256 of their tokens: each lets a user choose a password, once.';

create table console_secrets (
    id          integer primary key default 1 check (id = 1),
    secret      bytea not null check (length(secret) >= 32)
);
comment on table console_secrets is
'By what sessions and forms of the console are signed, on every instance.';

create table audit (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    actor       text not null,              -- a user, the operator key, or a command
    action      text not null,
    target      text not null,
    details     jsonb not null default '{}' check (jsonb_typeof(details) = 'object')
);
comment on table audit is
'What people changed through the console and `liveweights users`: who, what, and why. Nothing changes or removes a row.';
create function keep_audit() returns trigger language plpgsql as $$
begin
    raise exception 'rows of audit are neither changed nor removed';
end $$;
create trigger keep_audit before update or delete on audit
    for each row execute function keep_audit();
