-- How long after an answer does feedback come?
--
-- Percentiles as for the first token. By the time of the answer, so the newest answers have had
-- little time yet.
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
with bins as (
    select case %(by)s::text when 'checkpoint' then r.checkpoint when 'tenant' then r.tenant
        when 'surface' then r.surface else r.alias end as key, r.bin, sum(r.count)::float8 as n
    from timed r
    where r.measure = 'delay' and r.width = %(width)s
    and r.whole = (%(tenant)s::text is null and %(by)s::text in ('checkpoint', 'alias'))
    and r.bucket >= %(since)s and r.bucket < %(until)s
    and (%(by)s::text = 'checkpoint' or right(r.checkpoint, 7) <> '@import')
    and (%(alias)s::text is null or r.alias = %(alias)s)
    and (%(tenant)s::text is null or r.tenant = %(tenant)s)
    group by 1, 2
), ranks as (
    select *, sum(n) over (partition by key order by bin) as upto,
        sum(n) over (partition by key) as total
    from bins where n > 0
), points as (
    select key, total, q, min(2 ^ ((bin + (q * total - (upto - n)) / n) / 4)) / 1000 as seconds
    from ranks cross join (values (0.5::float8), (0.95), (0.99)) quantiles (q)
    where upto >= q * total and upto - n < q * total
    group by key, total, q
)
select key, total::bigint as feedback,
    max(seconds) filter (where q = 0.5)::float8 as p50_s,
    max(seconds) filter (where q = 0.95)::float8 as p95_s,
    max(seconds) filter (where q = 0.99)::float8 as p99_s
from points group by 1, 2 order by 2 desc, 1
