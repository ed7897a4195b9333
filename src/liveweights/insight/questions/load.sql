-- How busy was each instance of the API?
--
-- `busy` is the share of the slots that were in use, on average; `queued` the share of samples in
-- which requests waited.
select date_bin(make_interval(mins => %(width)s), at, 'epoch') as at, instance as key,
    count(*) as samples, avg(running::float8 / slots) as busy, max(running) as most_running,
    max(waiting) as most_waiting, avg((waiting > 0)::int)::float8 as queued,
    max(cardinality(resident)) as most_resident
from occupied
where at >= %(since)s and at < %(until)s
group by 1, 2 order by 1, 2
