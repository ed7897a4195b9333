-- How long after an answer its feedback came is counted from the moment the answer was complete.

-- Null where feedback is older than this column: there its delay is from the request's start.
alter table feedback add column completed_at timestamptz;

create or replace view reactions as
select f.day, f.seq, f.id, f.generation, f.tenant, f.user_id, f.signal, f.value, f.text,
    f.survived, f.received_at, f.generated_at,
    f.received_at - coalesce(f.completed_at, f.generated_at) as delay,
    s.alias, s.checkpoint, s.surface, f.completed_at
from feedback f left join series s on s.id = f.series;
comment on view reactions is
'One row per feedback. day is of the answer that it is about, completed_at when that was complete, and delay from then to the feedback. survived is, for edited, the share of the answer that was kept.';
comment on view latency is
'How many answers took from_ms to to_ms. measure is first_token, total, or delay (from the complete answer to its feedback). Choose minutes = 5, 60 or 1440.';

create or replace function histograms_of(since timestamptz, until timestamptz)
returns setof rollup_histograms
language sql stable as $$
    with fine as (
        select date_bin('5 minutes', g.created_at, 'epoch') as at, s.id as series, m.measure,
            histogram_bin(m.ms) as bin, count(*) as count
        from generations g join series s using (alias, checkpoint, tenant, surface)
        cross join lateral (values
            ('first_token'::measure, g.first_token_ms), ('total'::measure, g.total_ms)
        ) m (measure, ms)
        where g.created_at >= since and g.created_at < until
        group by 1, 2, 3, 4
        union all
        select date_bin('5 minutes', generated_at, 'epoch'), series, 'delay'::measure,
            histogram_bin(1000 * extract(
                epoch from received_at - coalesce(completed_at, generated_at)
            )::float8), count(*)
        from feedback where generated_at >= since and generated_at < until
        group by 1, 2, 3, 4
    )
    select whole, width::smallint, date_bin(make_interval(mins => width), at, 'epoch'),
        case when whole then whole_id else series.id end, measure, bin, sum(count)::bigint
    from fine join series on series.id = fine.series
    cross join (values (5), (60), (1440)) widths (width)
    cross join (values (false), (true)) kinds (whole)
    group by 1, 2, 3, 4, 5, 6
$$;

-- What was asked, as text: prompts are recorded as tokens, whose bytes are kept once per base.

create table vocabularies (
    root   text not null references checkpoints on delete cascade,
    token  integer not null,
    bytes  bytea not null,
    primary key (root, token)
);
comment on table vocabularies is 'The bytes of each token of a base.';

-- Bytes as text, with those that are no text escaped.
create function readable(bytes bytea) returns text language plpgsql immutable parallel safe as $$
begin
    return convert_from(bytes, 'UTF8');
exception when others then
    return encode(bytes, 'escape');
end
$$;

-- The request's own words where those were recorded, else the tokens put together; null where
-- neither is known. Only who asks for it pays for it.
create function prompt_text(g generations) returns text language sql stable parallel safe as $$
    select coalesce(nullif(g.prompt, ''), (
        select readable(string_agg(v.bytes, ''::bytea order by p.place))
        from unnest(g.prompt_ids) with ordinality p (token, place)
        join checkpoints c on c.id = g.checkpoint
        join vocabularies v on v.root = c.root and v.token = p.token
    ))
$$;

create or replace view answers as
select g.day, g.id, g.created_at, g.alias, g.checkpoint, g.endpoint, g.tenant, g.user_id,
    g.session, g.surface, g.language, g.consent, g.output, g.finish_reason,
    prompt_tokens(g) as prompt_tokens, output_tokens(g) as output_tokens,
    g.cost_nanos::float8 / 1e9 as cost, g.first_token_ms, g.total_ms,
    coalesce(o.feedback, 0) as feedback, o.accepted, o.rejected, o.decided_by,
    prompt_text(g) as prompt, g.reasoning, g.metadata
from generations g
left join outcomes o on o.day = g.day and o.generation = g.id;
comment on view answers is
'One row per answer with what was asked and what its feedback amounts to. Give a range of day: only those days are read.';

-- Whether a canary's share is of the answers, each drawn for itself, because sessions are too few.
alter table aliases add column by_answer boolean not null default false;
