-- Which models call tools wrongly, or the same one again and again, and which decline?
--
-- An episode loops where a call was made three times or more, or where it was ended at the bound on
-- calls; tenants name their episodes themselves, so that two may have one of a name. A chat's answer
-- declines by how it begins; the ends are those of the 0.95 Wilson interval.
-- Imported answers were given elsewhere: they count for checkpoints of their own alone.
-- https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
with called as (
    select case %(by)s::text when 'checkpoint' then checkpoint when 'tenant' then tenant
            else alias end as key,
        (tenant, episode) as episode, served, failed, ended = 'max_tool_calls' as at_bound,
        count(*) over (partition by tenant, episode, server, name, arguments) >= 3 as again
    from tool_calls
    where created_at >= %(since)s and created_at < %(until)s
        and (%(alias)s::text is null or alias = %(alias)s)
        and (%(tenant)s::text is null or tenant = %(tenant)s)
), conduct as (
    select key, count(distinct episode) as episodes, count(*) as calls,
        count(*) filter (where served) as served,
        (count(*) filter (where failed))::float8 / nullif(count(*) filter (where served), 0)
            as failed,
        (count(distinct episode) filter (where again or at_bound))::float8
            / count(distinct episode) as looping
    from called group by key
), said as (
    select case %(by)s::text when 'checkpoint' then checkpoint when 'tenant' then tenant
            else alias end as key,
        count(*)::float8 as answers,
        (count(*) filter (where left(output, %(reach)s) ~* %(refusal)s))::float8 as refused
    from answers
    where (day >= (%(since)s at time zone 'UTC')::date - 1 or day = '1970-01-01')
        and created_at >= %(since)s and created_at < %(until)s
        and (%(by)s::text = 'checkpoint' or right(checkpoint, 7) <> '@import')
        and endpoint = 'chat' and output <> '' and finish_reason not in ('cancelled', 'error')
        and (%(alias)s::text is null or alias = %(alias)s)
        and (%(tenant)s::text is null or tenant = %(tenant)s)
    group by 1
)
select key, coalesce(episodes, 0), coalesce(calls, 0), coalesce(served, 0), failed, looping,
    coalesce(answers, 0)::bigint, refused / answers,
    (refused + 1.9208 - 1.96 * sqrt(refused * (answers - refused) / answers + 0.9604))
        / (answers + 3.8416),
    (refused + 1.9208 + 1.96 * sqrt(refused * (answers - refused) / answers + 0.9604))
        / (answers + 3.8416)
from conduct full join said using (key)
order by failed desc nulls last, refused / answers desc nulls last, key
