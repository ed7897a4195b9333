-- Why a database is closed, and numbers that dates and timers can hold: one that they cannot would
-- stop the check of all databases.

update databases set idle = 900 where not (idle > 0 and idle <= 1e9);
update databases set size_limit = 2^40 where size_limit > 2^40;
update databases set expires_at = null where expires_at > '9000-01-01' or not isfinite(expires_at);

alter table databases
    add column reason text not null default '',
    add check (idle > 0 and idle <= 1e9),
    add check (size_limit between 0 and 2::numeric ^ 40),
    add check (isfinite(expires_at) and expires_at < '9000-01-01');
