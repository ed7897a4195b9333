-- When did an alias change what it points at, and why?
--
-- `lasted_s` is until the alias's next change; null for the one in force.
select at, alias, action, checkpoint, previous, reason,
    extract(epoch from lead(at) over (partition by alias order by id) - at)::float8 as lasted_s
from releases
where %(alias)s::text is null or alias = %(alias)s
order by id
