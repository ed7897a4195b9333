-- How does each model stand?
--
-- Of the window's answers: how many were taken of those that were clicked on, with the 0.95 Wilson
-- interval, and how long users waited for the first token (percentiles as for that question). Beside
-- it, whenever that was, the gate's last verdict, and what the suites said of what is live,
-- in the cycle that made it.
-- Imported answers were given elsewhere, and are not counted.
-- https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
with answered as (
    select r.alias, sum(r.generations)::bigint as generations, sum(r.accepted)::float8 as accepted,
        nullif(sum(r.accepted + r.rejected), 0)::float8 as clicked
    from counted r
    where r.width = %(width)s and r.whole and right(r.checkpoint, 7) <> '@import'
        and r.bucket >= %(since)s and r.bucket < %(until)s
    group by r.alias
), bins as (
    select r.alias, r.bin, sum(r.count)::float8 as n
    from timed r
    where r.measure = 'first_token' and r.width = %(width)s and r.whole
        and right(r.checkpoint, 7) <> '@import'
        and r.bucket >= %(since)s and r.bucket < %(until)s
    group by r.alias, r.bin
), ranks as (
    select *, sum(n) over (partition by alias order by bin) as upto,
        sum(n) over (partition by alias) as total
    from bins where n > 0
), points as (
    select alias, q, min(2 ^ ((bin + (q * total - (upto - n)) / n) / 4)) as ms
    from ranks cross join (values (0.5::float8), (0.95)) quantiles (q)
    where upto >= q * total and upto - n < q * total
    group by alias, q
), waits as (
    select alias, max(ms) filter (where q = 0.5) as p50_ms, max(ms) filter (where q = 0.95) as p95_ms
    from points group by alias
), verdicts as (
    select distinct on (alias) alias, id, verdict ->> 'outcome' as outcome,
        verdict -> 'reasons' as reasons
    from turns where verdict is not null order by alias, id desc
), scored as (
    select distinct on (t.alias) t.alias, t.verdict -> 'evidence' -> 'suites' as suites
    from turns t join standing s on s.alias = t.alias and s.live = t.candidate
    where t.outcome = 'promoted' and t.withdrawn_at is null
    order by t.alias, t.id desc
), scores as (
    select alias, jsonb_object_agg(
            one ->> 'suite', (one -> 'difference' ->> 'candidate')::float8) as scores
    from scored cross join lateral jsonb_array_elements(suites) one
    group by alias
)
select alias, coalesce(generations, 0), coalesce(clicked, 0)::bigint, accepted / clicked,
    (accepted + 1.9208 - 1.96 * sqrt(accepted * (clicked - accepted) / clicked + 0.9604))
        / (clicked + 3.8416),
    (accepted + 1.9208 + 1.96 * sqrt(accepted * (clicked - accepted) / clicked + 0.9604))
        / (clicked + 3.8416),
    p50_ms, p95_ms, id, outcome, coalesce(reasons, '[]'), coalesce(scores, '{}')
from answered full join waits using (alias) full join verdicts using (alias)
    full join scores using (alias)
order by alias
