-- What answers cost: prices, the ledger, and the invoices that follow from both.
-- Amounts are whole billionths ("nanos") of a currency; token prices are nanos per million tokens.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: rows are added, and never changed or removed', tg_table_name;
end $$;

create table prices (
    id            bigint generated always as identity primary key,
    created_at    timestamptz not null default now(),
    since         timestamptz not null,     -- of the answers that are asked for from then on
    side          text not null check (side in ('sale', 'cost')),   -- what we ask, what is asked of us
    model         text,                     -- public name; null: any
    tenant        text,
    plan          text,
    currency      text not null check (currency ~ '^[A-Z]{3}$'),
    input         bigint not null check (input >= 0),
    cached_input  bigint not null check (cached_input >= 0),
    output        bigint not null check (output >= 0),
    reasoning     bigint not null check (reasoning >= 0),
    request       bigint not null check (request >= 0),
    markup_ppm    bigint check (markup_ppm >= 0),   -- on top of the upstream's price; null: not charged
    withheld      text not null check (withheld in ('free', 'charged')),
    source        text not null check (source in ('operator', 'settings', 'list')),
    note          text not null default '',
    check (num_nonnulls(tenant, plan) <= 1),
    check (side = 'sale' or (tenant is null and plan is null and markup_ppm is null))
);
create trigger append_only before update or delete or truncate on prices
    for each statement execute function refuse_change();
comment on table prices is
'What a million tokens and a request cost, from when on and for whom; append-only. See `liveweights prices`.';

create table plan_changes (
    id          bigint generated always as identity primary key,
    created_at  timestamptz not null default now(),
    tenant      text not null,
    plan        text not null,              -- empty: none
    since       timestamptz not null
);
create trigger append_only before update or delete or truncate on plan_changes
    for each statement execute function refuse_change();
comment on table plan_changes is
'Which plan''s prices a tenant pays, and from when on; append-only.';

-- A tenant's plan is one of its facts now; what it paid before stays as it was. Whoever says prices
-- has to have the change before it holds.
create function keep_plan() returns trigger language plpgsql as $$
begin
    insert into plan_changes (tenant, plan, since)
    values (new.name, new.plan, clock_timestamp() + interval '60 seconds');
    return null;
end $$;
create trigger keep_new_plan after insert on tenants
    for each row when (new.plan <> '') execute function keep_plan();
create trigger keep_plan after update of plan on tenants
    for each row when (new.plan <> old.plan) execute function keep_plan();
insert into plan_changes (tenant, plan, since)
select name, plan, clock_timestamp() + interval '60 seconds' from tenants where plan <> '';

-- What levies and questions tell models apart by.
create table sold_models (
    model    text primary key,              -- public name
    origin   text not null,                 -- country of the maker, as the catalogue has it
    licence  text not null
);

-- One row per answer, with both sides of it: the tenant owes `amount`, which is revenue, and `cost`
-- is owed to the upstream. No text and no user: a user who is forgotten leaves the money.
-- `price` and `cost_price` are of `prices`, without a constraint that would look each of them up.
create sequence ledger_seq;
create table ledger (
    id                text primary key,     -- the answer's; of a reversal its own
    at                timestamptz not null, -- when the answer was asked for, the reversal made
    amount            bigint not null,
    cost              bigint not null,
    prompt_tokens     bigint not null,      -- as sampled
    cached_tokens     bigint not null,
    output_tokens     bigint not null,
    reasoning_tokens  bigint not null,
    requests          bigint not null,
    sent_tokens       bigint,               -- what was sent when we broke off; null: we did not
    tenant            text not null,
    model             text not null,
    checkpoint        text not null,
    key               text not null,
    rule              text not null,        -- by which it is charged
    price             bigint,
    cost_price        bigint,
    currency          text not null,
    cost_currency     text not null,
    day               date not null,        -- of booking (UTC): whose chain it is in
    seq               bigint not null default nextval('ledger_seq'),
    reverses          text,
    reason            text
);
create unique index ledger_reversed_once on ledger (reverses) where reverses is not null;
create index ledger_by_time on ledger using brin (at) with (pages_per_range = 32);
create index ledger_by_booking on ledger using brin (day, seq) with (pages_per_range = 32);
create trigger append_only before update or delete or truncate on ledger
    for each statement execute function refuse_change();
comment on table ledger is
'What each answer is charged, and what its upstream asks for it; append-only. A correction is a row that reverses another. See `liveweights ledger`.';

-- Days that are over: a hash over all their entries and the day before. The first row is no day: its
-- `closed_at` is when the ledger was opened.
create table ledger_days (
    day        date primary key,
    entries    bigint not null,
    hash       bytea not null,
    closed_at  timestamptz not null default now()
);
create trigger append_only before update or delete or truncate on ledger_days
    for each statement execute function refuse_change();
insert into ledger_days (day, entries, hash) values ('1970-01-01', 0, sha256(''));

create table invoices (
    number     bigint generated always as identity primary key,
    tenant     text not null,
    month      date not null check (extract(day from month) = 1),
    until      timestamptz not null,        -- the month's end in the tenant's time zone
    cut        bigint not null,             -- `seq` of the last entry that it could have
    closed_at  timestamptz not null default now(),
    content    text not null,               -- JSON
    unique (tenant, month)
);
create trigger append_only before update or delete or truncate on invoices
    for each statement execute function refuse_change();
comment on table invoices is
'Months that are closed, as they were billed; append-only. See `liveweights invoice`.';

-- Answers as they are counted, for those who charge for them.
create view counted_answers as
select g.day, g.id, g.created_at, g.tenant, g.alias as model, g.checkpoint, g.key, g.cost_nanos,
    prompt_tokens(g) as prompt_tokens,
    least(coalesce((g.usage ->> 'cached_tokens')::bigint, 0), prompt_tokens(g)) as cached_tokens,
    output_tokens(g) as output_tokens,
    least(coalesce((g.usage ->> 'reasoning_tokens')::bigint, 0), output_tokens(g))
        as reasoning_tokens,
    coalesce((g.usage ->> 'requests')::bigint, 1) as requests,
    (g.usage ->> 'sent_tokens')::bigint as sent_tokens,
    g.selection is not null and g.output = '' as withheld
from generations g;
comment on view counted_answers is
'What each recorded answer used, as charges go by it. Give a range of day: only those days are read.';

-- What people and other programs read. Names and columns here are kept; tables behind may change.

-- Billed tokens are those that were charged for; a reversal takes them away.
create view charges as
select l.id, l.at, l.day, l.tenant, l.model, l.checkpoint, l.key, l.rule, l.price, l.currency,
    l.amount as nanos, l.cost_currency, l.cost as cost_nanos,
    case when l.currency = l.cost_currency or l.cost = 0 then l.amount - l.cost end as margin_nanos,
    l.prompt_tokens, l.cached_tokens, l.output_tokens, l.reasoning_tokens, l.requests,
    b.billed * l.prompt_tokens as billed_prompt_tokens,
    b.billed * l.cached_tokens as billed_cached_tokens,
    b.billed * case when l.rule = 'sent'
        then b.sign * least(l.sent_tokens, b.sign * l.output_tokens) else l.output_tokens end
        as billed_output_tokens,
    b.billed * case when l.rule = 'sent'
        then b.sign * least(l.sent_tokens, b.sign * l.reasoning_tokens) else l.reasoning_tokens end
        as billed_reasoning_tokens,
    b.billed * l.requests as billed_requests,
    l.reverses, l.reason, l.seq, coalesce(m.origin, 'unknown') as origin,
    coalesce(m.licence, 'unknown') as licence
from ledger l
cross join lateral (
    select (l.rule = 'sampled' or l.rule = 'sent' and l.sent_tokens <> 0)::int::bigint as billed,
        case when l.reverses is null then 1 else -1 end as sign
) b
left join sold_models m on m.model = l.model;
comment on view charges is
'One row per answer: what it used, what it is charged (nanos: billionths of currency), and what its upstream asks for it. reverses names the answer that a correction takes back.';

create view postings as
select l.id as entry, l.at, p.account, p.currency, p.nanos
from ledger l
cross join lateral (values
    ('receivable:' || l.tenant, l.currency, l.amount),
    ('revenue:' || l.model, l.currency, -l.amount),
    ('expense:' || l.model, l.cost_currency, l.cost),
    ('payable:' || l.checkpoint, l.cost_currency, -l.cost)
) p (account, currency, nanos)
where p.nanos <> 0;
comment on view postings is
'The ledger as double-entry bookkeeping has it: debits are positive, credits negative, and the postings of an entry add up to 0 in each currency.';
