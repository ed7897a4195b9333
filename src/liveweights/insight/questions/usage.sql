-- Who uses how many tokens, and what do they cost?
--
-- `cost` is the sum of what answers were charged; it is not told where prices that could apply then
-- are in several currencies: `revenue` tells each.
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
with used as (
    select case %(by)s::text when 'checkpoint' then r.checkpoint when 'tenant' then r.tenant
            when 'surface' then r.surface else r.alias end as key,
        array_agg(distinct r.alias) as aliases,
        sum(r.generations)::bigint as generations,
        sum(r.prompt_tokens)::bigint as prompt_tokens,
        sum(r.output_tokens)::bigint as output_tokens,
        sum(r.cost_nanos) as nanos
    from counted r
    where r.width = %(width)s
        and r.whole = (%(tenant)s::text is null and %(by)s::text in ('checkpoint', 'alias'))
        and r.bucket >= %(since)s and r.bucket < %(until)s
        and (%(by)s::text = 'checkpoint' or right(r.checkpoint, 7) <> '@import')
        and (%(alias)s::text is null or r.alias = %(alias)s)
        and (%(tenant)s::text is null or r.tenant = %(tenant)s)
    group by 1
)
select key, generations, prompt_tokens, output_tokens,
    case when currencies <= 1 then nanos::float8 / 1e9 end as cost,
    case when currencies = 1 then currency end as currency
from used, lateral (
    select count(distinct p.currency) as currencies, min(p.currency) as currency
    from asked_prices p
    where exists (
            select from unnest(used.aliases) as of (alias)
            where p.model = of.alias or p.model is null and not exists (
                -- A price of a model goes before one of all.
                select from asked_prices own
                where own.model = of.alias and own.tenant is null and own.plan is null
                    and own.since <= %(since)s
            )
        )
        and p.since < %(until)s
        and not exists (
            select from asked_prices later
            where (later.model, later.tenant, later.plan)
                is not distinct from (p.model, p.tenant, p.plan)
                and later.since > p.since and later.since <= %(since)s
        )
        and (p.tenant is null or %(by)s::text <> 'tenant' or p.tenant = used.key)
        and (p.tenant is null or %(tenant)s::text is null or p.tenant = %(tenant)s)
) asked
order by nanos desc, prompt_tokens + output_tokens desc, key
