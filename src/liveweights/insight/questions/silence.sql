-- Where does the model say nothing more often than before?
--
-- The window against the one of equal length before it.
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
select case %(by)s::text when 'checkpoint' then r.checkpoint when 'tenant' then r.tenant
        when 'surface' then r.surface else r.alias end as key,
    coalesce(sum(r.generations) filter (where r.bucket < %(since)s), 0)::bigint
        as generations_before,
    coalesce(sum(r.generations) filter (where r.bucket >= %(since)s), 0)::bigint as generations,
    sum(r.silent) filter (where r.bucket < %(since)s)::float8
        / nullif(sum(r.generations) filter (where r.bucket < %(since)s), 0)::float8 as before,
    sum(r.silent) filter (where r.bucket >= %(since)s)::float8
        / nullif(sum(r.generations) filter (where r.bucket >= %(since)s), 0)::float8 as now
from counted r
where r.width = %(width)s
    and r.whole = (%(tenant)s::text is null and %(by)s::text in ('checkpoint', 'alias'))
    and r.bucket >= %(since)s - (%(until)s - %(since)s) and r.bucket < %(until)s
    and (%(by)s::text = 'checkpoint' or right(r.checkpoint, 7) <> '@import')
    and (%(alias)s::text is null or r.alias = %(alias)s)
    and (%(tenant)s::text is null or r.tenant = %(tenant)s)
group by 1
order by coalesce(
    sum(r.silent) filter (where r.bucket >= %(since)s)::float8
        / nullif(sum(r.generations) filter (where r.bucket >= %(since)s), 0)::float8
    - sum(r.silent) filter (where r.bucket < %(since)s)::float8
        / nullif(sum(r.generations) filter (where r.bucket < %(since)s), 0)::float8, -1) desc, 1
