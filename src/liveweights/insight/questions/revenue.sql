-- What was charged, what did upstreams ask for it, and what is left, over time?
--
-- Exact amounts are in the view `charges`; here they are for reading. A cost that is not all in the
-- currency of what was charged is not told, nor the margin over it.
select date_bin(make_interval(mins => %(width)s::int), at, 'epoch') as at,
    case %(by)s::text when 'tenant' then tenant when 'origin' then origin else model end as key,
    currency,
    count(*) filter (where reverses is null)::bigint as generations,
    sum(nanos)::float8 / 1e9 as revenue,
    case when bool_and(margin_nanos is not null) then sum(cost_nanos)::float8 / 1e9 end as cost,
    case when bool_and(margin_nanos is not null) then sum(margin_nanos)::float8 / 1e9 end as margin
from charges
where at >= %(since)s and at < %(until)s
    and (%(alias)s::text is null or model = %(alias)s)
    and (%(tenant)s::text is null or tenant = %(tenant)s)
group by 1, 2, 3 order by 1, sum(nanos) desc, 2, 3
