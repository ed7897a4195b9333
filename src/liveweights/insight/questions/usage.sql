-- Who uses how many tokens, and what do they cost?
--
-- `cost` is in the currency of the prices that were configured when the answer was given.
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
select case %(by)s::text when 'checkpoint' then r.checkpoint when 'tenant' then r.tenant
        when 'surface' then r.surface else r.alias end as key,
    sum(r.generations)::bigint as generations,
    sum(r.prompt_tokens)::bigint as prompt_tokens,
    sum(r.output_tokens)::bigint as output_tokens,
    sum(r.cost_nanos)::float8 / 1e9 as cost
from counted r
where r.width = %(width)s
    and r.whole = (%(tenant)s::text is null and %(by)s::text in ('checkpoint', 'alias'))
    and r.bucket >= %(since)s and r.bucket < %(until)s
    and (%(by)s::text = 'checkpoint' or right(r.checkpoint, 7) <> '@import')
    and (%(alias)s::text is null or r.alias = %(alias)s)
    and (%(tenant)s::text is null or r.tenant = %(tenant)s)
group by 1
order by sum(r.cost_nanos) desc, sum(r.prompt_tokens + r.output_tokens) desc, 1
