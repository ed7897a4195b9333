-- How long do users wait for the first token?
--
-- Percentiles from counts per bin, read off within a bin on a logarithmic scale: at most a fifth from
-- the true value, which is the width of a bin, and usually much less.
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
with bins as (
    select r.bucket, case %(by)s::text when 'checkpoint' then r.checkpoint when 'tenant' then r.tenant
        when 'surface' then r.surface else r.alias end as key, r.bin,
        sum(r.count)::float8 as n
    from timed r
    where r.measure = 'first_token' and r.width = %(width)s
    and r.whole = (%(tenant)s::text is null and %(by)s::text in ('checkpoint', 'alias'))
    and r.bucket >= %(since)s and r.bucket < %(until)s
    and (%(by)s::text = 'checkpoint' or right(r.checkpoint, 7) <> '@import')
    and (%(alias)s::text is null or r.alias = %(alias)s)
    and (%(tenant)s::text is null or r.tenant = %(tenant)s)
    group by 1, 2, 3
), ranks as (
    select *, sum(n) over (partition by bucket, key order by bin) as upto,
        sum(n) over (partition by bucket, key) as total
    from bins where n > 0
), points as (
    select bucket, key, total, q,
        min(2 ^ ((bin + (q * total - (upto - n)) / n) / 4)) as ms
    from ranks cross join (values (0.5::float8), (0.95), (0.99)) quantiles (q)
    where upto >= q * total and upto - n < q * total
    group by bucket, key, total, q
)
select bucket as at, key, total::bigint as generations,
    max(ms) filter (where q = 0.5) as p50_ms,
    max(ms) filter (where q = 0.95) as p95_ms,
    max(ms) filter (where q = 0.99) as p99_ms
from points group by 1, 2, 3 order by 1, 2
