-- Where rows are dropped for good, what was answered to them in the shadow goes with them, and which
-- cycles had read them stays to be found when a user is forgotten.
create index shadow_answers_by_day on shadow_answers (generation_day(generation));
create index drafts_by_day on drafts (generation_day(generation));
create index cycle_rows_by_day on cycle_rows (day);

-- Who began what an answer of a dropped day goes on from.
create index responses_by_episode on responses (tenant, (body ->> 'episode'))
    where body ->> 'episode' is not null;
create index responses_by_named_episode on responses (tenant, (body -> 'metadata' ->> 'episode'))
    where body -> 'metadata' ->> 'episode' is not null;

-- The gate's drafts are of another package than what is recorded.
create function forget_drafts_of(gone date) returns void language sql as $$
    delete from drafts where generation_day(generation) = gone;
$$;
comment on function forget_drafts_of is 'Remove what gates asked again of one day''s requests.';

create table dropped_reads (
    user_hash  bytea not null,
    cycle      bigint not null,
    primary key (user_hash, cycle)
);
comment on table dropped_reads is
'Which cycles had read rows of a user that were dropped with their day, so that forgetting the user still finds them.';
comment on column dropped_reads.user_hash is 'Of tenant and user, as in forgotten.';
comment on column dropped_reads.cycle is
'Read answers of the user, or of others who were judged by what the user asked next in the same chat.';

-- What is left to do of a deletion after its rows are gone, until it is done.
alter table forgotten
    add column days date[] not null default '{}',
    add column finished_at timestamptz default now();  -- of those that there are
alter table forgotten alter column finished_at drop default;
comment on column forgotten.days is
'Days of the removed rows, whose tables are to be rewritten where Postgres is embedded; empty once that is done.';
comment on column forgotten.finished_at is
'When nothing was left of it; null: it is under way, was killed, or has left something. The next call for the user goes on with it.';
