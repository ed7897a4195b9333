-- How often are answers taken, and what are they worth, over time?
--
-- `accept_rate` is of the answers that were clicked on. `reward` is the mean over the answers that
-- have one, under the worths of `accepted`, `rejected` and `silence` in force now, each model's own.
-- An answer's strongest signal decides: a number, a thumb, what survived, the last click. (Learning
-- weighs them against each other.)
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
select r.bucket as at,
    case %(by)s::text when 'checkpoint' then r.checkpoint when 'tenant' then r.tenant
        when 'surface' then r.surface else r.alias end as key,
    sum(r.generations)::bigint as generations,
    sum(r.accepted)::bigint as accepted,
    sum(r.rejected)::bigint as rejected,
    sum(r.accepted)::float8 / nullif(sum(r.accepted + r.rejected), 0)::float8 as accept_rate,
    sum(
        r.value_micros + coalesce(w.accepted, %(worth_accepted)s) * r.accepted_micros
        + coalesce(w.rejected, %(worth_rejected)s) * r.rejected_micros
        + coalesce(w.silence, %(worth_silence)s) * 1e6 * (r.silent - r.silent_reacted)
    )::float8 / 1e6 / nullif(sum(r.reacted + r.silent - r.silent_reacted), 0)::float8 as reward
from counted r
left join unnest(%(worth_of)s::text[], %(worths_accepted)s::float8[],
    %(worths_rejected)s::float8[], %(worths_silence)s::float8[]
) as w (alias, accepted, rejected, silence) on w.alias = r.alias
where r.width = %(width)s
    and r.whole = (%(tenant)s::text is null and %(by)s::text in ('checkpoint', 'alias'))
    and r.bucket >= %(since)s and r.bucket < %(until)s
    and (%(by)s::text = 'checkpoint' or right(r.checkpoint, 7) <> '@import')
    and (%(alias)s::text is null or r.alias = %(alias)s)
    and (%(tenant)s::text is null or r.tenant = %(tenant)s)
group by 1, 2
order by 1, 2
