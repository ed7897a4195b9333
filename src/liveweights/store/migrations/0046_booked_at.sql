-- When an answer was booked, which is after it was asked for: by that time exports follow one another,
-- so that each has what those before could not.
alter table ledger add column booked_at timestamptz;
alter table ledger alter column booked_at set default clock_timestamp();
create index ledger_by_booking_time on ledger using brin (booked_at) with (pages_per_range = 32);
comment on column ledger.booked_at is
'When it was booked, once the table was held; null: before this was kept.';

-- As before, and when each was booked.
create or replace view charges as
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
    coalesce(m.licence, 'unknown') as licence, l.booked_at
from ledger l
cross join lateral (
    select (l.rule = 'sampled' or l.rule = 'sent' and l.sent_tokens <> 0)::int::bigint as billed,
        case when l.reverses is null then 1 else -1 end as sign
) b
left join sold_models m on m.model = l.model;
comment on column charges.booked_at is
'When it was booked; null: before this was kept. What was booked by a time is all there once whoever booked then is done: see `liveweights ledger export`.';
