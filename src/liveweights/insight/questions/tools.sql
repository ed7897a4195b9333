-- Which models call tools wrongly, or the same one again and again?
--
-- An episode loops where a call was made three times or more, or where it was ended at the bound on
-- calls.
with called as (
    select case %(by)s::text when 'checkpoint' then checkpoint when 'tenant' then tenant
            else alias end as key,
        episode, served, failed, ended = 'max_tool_calls' as at_bound,
        count(*) over (partition by episode, server, name, arguments) >= 3 as again
    from tool_calls
    where created_at >= %(since)s and created_at < %(until)s
        and (%(alias)s::text is null or alias = %(alias)s)
        and (%(tenant)s::text is null or tenant = %(tenant)s)
)
select key, count(distinct episode) as episodes, count(*) as calls,
    count(*) filter (where served) as served,
    (count(*) filter (where failed))::float8 / nullif(count(*) filter (where served), 0) as failed,
    (count(distinct episode) filter (where again or at_bound))::float8
        / count(distinct episode) as looping
from called group by key order by failed desc nulls last, key
