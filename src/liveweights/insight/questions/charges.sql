-- What was used and owed, in buckets of `width` seconds from `start` (seconds since 1970)?
select floor((extract(epoch from at) - %(start)s) / %(width)s)::int as bucket,
    case when %(by_tenant)s then tenant end as tenant,
    case when %(by_model)s then model end as model,
    case when %(by_key)s then key end as key,
    case when %(by_currency)s then currency end as currency,
    sum(requests)::bigint as requests,
    sum(prompt_tokens)::bigint as prompt_tokens,
    sum(cached_tokens)::bigint as cached_tokens,
    sum(output_tokens)::bigint as output_tokens,
    sum(nanos)::bigint as nanos
from charges
where (%(tenant)s::text is null or tenant = %(tenant)s) and at >= %(since)s and at < %(until)s
group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
