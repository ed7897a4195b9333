-- When did an alias change what it points at, and why?
--
-- `lasted_s` is until the alias's next change; null for the one in force. Asked by a tenant: of
-- everybody's aliases and its own branches, of nobody else's.
select at, alias, action, checkpoint, previous, reason,
    extract(epoch from until - at)::float8 as lasted_s
from swaps
where (%(alias)s::text is null or alias = %(alias)s)
    and (%(tenant)s::text is null or tenant is null or tenant = %(tenant)s)
order by id
