-- Which users are unhappy?
--
-- An answer is unwelcome when its feedback is worth less than nothing to its model. Users are ordered by the lower
-- end of the 0.95 Wilson interval of their unwelcome share, so that one bad answer is no verdict.
-- https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
with worths as (
    select o.tenant, o.user_id, (
            o.value_micros + coalesce(w.accepted, %(worth_accepted)s) * o.accepted_micros
            + coalesce(w.rejected, %(worth_rejected)s) * o.rejected_micros
        )::float8 / 1e6 as reward
    from judged o
    left join unnest(%(worth_of)s::text[], %(worths_accepted)s::float8[],
        %(worths_rejected)s::float8[], %(worths_silence)s::float8[]
    ) as w (alias, accepted, rejected, silence) on w.alias = o.alias
    where (o.day >= (%(since)s at time zone 'UTC')::date - 1 or o.day = '1970-01-01')
        and o.generated_at >= %(since)s and o.generated_at < %(until)s
        and o.decided_by is not null and o.user_id is not null
        and right(o.checkpoint, 7) <> '@import'
        and (%(alias)s::text is null or o.alias = %(alias)s)
        and (%(tenant)s::text is null or o.tenant = %(tenant)s)
), users as (
    select tenant, user_id, count(*) as reacted, count(*) filter (where reward < 0) as unwelcome,
        avg(reward) as reward
    from worths group by tenant, user_id
)
select tenant, user_id as "user", reacted, unwelcome, reward,
    (
        unwelcome + 1.9208 - 1.96 * sqrt(unwelcome * (reacted - unwelcome)::float8 / reacted + 0.9604)
    ) / (reacted + 3.8416) as at_least
from users
where unwelcome > 0
order by at_least desc, unwelcome desc, tenant, user_id
limit %(limit)s
