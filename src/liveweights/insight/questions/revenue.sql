-- What was charged, what did upstreams ask for it, and what is left, over time?
--
-- Exact amounts are in the view `charges`; here they are for reading. A margin over two currencies
-- is not told.
select date_bin(make_interval(mins => %(width)s::int), at, 'epoch') as at,
    case %(by)s::text when 'tenant' then tenant when 'origin' then origin else model end as key,
    currency,
    count(*) filter (where reverses is null)::bigint as generations,
    sum(nanos)::float8 / 1e9 as revenue,
    case when bool_or(cost_nanos <> 0) then
        sum(cost_nanos) filter (where cost_currency = currency)::float8 / 1e9 else 0 end as cost,
    case when bool_and(margin_nanos is not null) then sum(margin_nanos)::float8 / 1e9 end as margin
from charges
where at >= %(since)s and at < %(until)s
    and (%(alias)s::text is null or model = %(alias)s)
    and (%(tenant)s::text is null or tenant = %(tenant)s)
group by 1, 2, 3 order by 1, sum(nanos) desc, 2, 3
