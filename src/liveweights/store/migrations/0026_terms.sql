-- What was denied by rules of use, and who set a rule aside, for which model, why and until when.
create table terms_denials (
    number      bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    model       text not null,
    action      text not null check (action in ('load', 'route', 'learn', 'export', 'release')),
    tenant      text,           -- null: nobody's in particular
    purpose     text not null,
    rule        text not null,
    reason      text not null   -- with what in the model it is about
);
create index on terms_denials (at);
comment on table terms_denials is
'What was not done with a model, and by which of the rules of use. Append-only. See `liveweights terms denials`.';

create table terms_overrides (
    number      bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    model       text not null,
    rule        text not null,  -- the one that is set aside
    action      text check (action in ('load', 'route', 'learn', 'export', 'release')),  -- null: any
    tenant      text,           -- null: any
    who         text not null check (who <> ''),
    why         text not null check (why <> ''),
    until       date not null,  -- the last day (UTC)
    ended_at    timestamptz,
    ended_by    text,
    check ((ended_at is null) = (ended_by is null))
);
comment on table terms_overrides is
'Who answers for a model being used although a rule of use says otherwise, why, and until when. Rows stay: one that is taken back has an end. See `liveweights terms override`.';
