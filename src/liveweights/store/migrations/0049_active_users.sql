-- Users of a month are counted at once, not among all that they asked.
create table last_seen (
    tenant text not null,
    user_id text not null,
    last_day date not null,
    primary key (tenant, user_id)
);
comment on table last_seen is
'Users who were named in answers that were given here, for as long as they asked in the last month. Kept in step with generations, also with those whose day is archived.';
comment on column last_seen.tenant is 'Whose user it is.';
comment on column last_seen.user_id is 'As it was named.';
comment on column last_seen.last_day is 'The last day (UTC) that one of the answers was asked for.';
create index last_seen_by_day on last_seen (last_day);

insert into last_seen
select tenant, user_id, max((created_at at time zone 'UTC')::date)
from generations
where user_id is not null and right(checkpoint, 7) <> '@import'
    and created_at >= date_trunc('day', now(), 'UTC') - interval '30 days'
group by 1, 2;

create view active_users as
select tenant, user_id, last_day from last_seen;
comment on view active_users is
'Users who asked in the last 30 days, by tenant, with the last day (UTC) on which they did.';

-- Days that are in files already: who asked on one of them only is not known.
alter table archives add column uncounted boolean not null default false;
comment on column archives.uncounted is
'Whether its users are not among the active ones: it was away when those began to be counted.';
update archives set uncounted = restored_at is null;
