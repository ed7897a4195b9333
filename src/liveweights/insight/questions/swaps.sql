-- When did an alias change what it points at, and why?
--
-- `lasted_s` is until the alias's next change; null for the one in force.
select at, alias, action, checkpoint, previous, reason,
    extract(epoch from until - at)::float8 as lasted_s
from swaps
where %(alias)s::text is null or alias = %(alias)s
order by id
