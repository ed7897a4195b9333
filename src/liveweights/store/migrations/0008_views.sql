-- What people and dashboards read. Names and columns here are kept; tables behind them may change.

create view stats as
select r.width as minutes, r.bucket as at, s.alias, s.checkpoint, s.tenant, s.surface,
    r.generations, r.silent, r.cancelled, r.failed, r.prompt_tokens, r.output_tokens,
    r.cost_nanos::float8 / 1e9 as cost,
    r.feedback, r.reacted, r.accepted, r.rejected,
    r.value_micros::float8 / 1e6 as value_sum,
    r.accepted_micros::float8 / 1e6 as accepted_weight,
    r.rejected_micros::float8 / 1e6 as rejected_weight,
    r.silent - r.silent_reacted as silent_unreacted
from rollups r join series s on s.id = r.series
where not r.whole;
comment on view stats is
'Counts per time and series. Choose minutes = 5, 60 or 1440; at is the start of the bucket (UTC), of the time of the answer. accepted and rejected count answers by their last click. The mean reward under a map with worths a, r and s (silence) is (value_sum + a * accepted_weight + r * rejected_weight + s * silent_unreacted) / (reacted + silent_unreacted).';

create view latency as
select h.width as minutes, h.bucket as at, s.alias, s.checkpoint, s.tenant, s.surface,
    h.measure::text as measure, 2 ^ (h.bin / 4.0::float8) as from_ms, 2 ^ ((h.bin + 1) / 4.0::float8) as to_ms,
    h.count
from rollup_histograms h join series s on s.id = h.series
where not h.whole;
comment on view latency is
'How many answers took from_ms to to_ms. measure is first_token, total, or delay (from answer to feedback). Choose minutes = 5, 60 or 1440.';

create view answers as
select g.day, g.id, g.created_at, g.alias, g.checkpoint, g.endpoint, g.tenant, g.user_id,
    g.session, g.surface, g.language, g.consent, g.output, g.finish_reason,
    prompt_tokens(g) as prompt_tokens, output_tokens(g) as output_tokens,
    g.cost_nanos::float8 / 1e9 as cost, g.first_token_ms, g.total_ms,
    coalesce(o.feedback, 0) as feedback, o.accepted, o.rejected, o.decided_by
from generations g
left join outcomes o on o.day = g.day and o.generation = g.id;
comment on view answers is
'One row per answer with what its feedback amounts to. Give a range of day: only those days are read.';

create view reactions as
select f.day, f.seq, f.id, f.generation, f.tenant, f.user_id, f.signal, f.value, f.text,
    f.survived, f.received_at, f.generated_at, f.received_at - f.generated_at as delay,
    s.alias, s.checkpoint, s.surface
from feedback f left join series s on s.id = f.series;
comment on view reactions is
'One row per feedback. day is of the answer that it is about. survived is, for edited, the share of the answer that was kept.';

create view swaps as
select at, alias, action, checkpoint, previous, cycle, reason, evidence,
    lead(at) over (partition by alias order by id) as until
from releases;
comment on view swaps is 'Every change of what an alias points at, with the numbers that made it.';

comment on view outcomes is
'What all feedback for an answer amounts to: the signal that decides, and the reward in parts that do not depend on the reward map (millionths).';
