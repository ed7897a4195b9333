-- The generations of one task, and what became of the task.

alter table feedback add column episode text;
comment on column feedback.episode is
'The episode or session whose outcome it is, with one row for each of its answers; null: it is about the one answer.';

create index generations_by_episode on generations (tenant, (metadata ->> 'episode'))
    where metadata ->> 'episode' is not null;

create or replace view reactions as
select f.day, f.seq, f.id, f.generation, f.tenant, f.user_id, f.signal, f.value, f.text,
    f.survived, f.received_at, f.generated_at,
    f.received_at - coalesce(f.completed_at, f.generated_at) as delay,
    s.alias, s.checkpoint, s.surface, f.completed_at, f.episode
from feedback f left join series s on s.id = f.series;
comment on view reactions is
'One row per feedback. day is of the answer that it is about, completed_at when that was complete, and delay from then to the feedback. survived is, for edited, the share of the answer that was kept; episode names the episode or session that it is the outcome of, which has a row for each of its answers.';
