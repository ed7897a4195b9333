-- What a checkpoint answered to a held-back prompt when a gate asked it: a later gate asks each
-- checkpoint only what it has not answered yet.
create table replays (
    cycle       bigint not null references cycles,
    checkpoint  text not null references checkpoints,
    -- Engine and precision: the same weights answer otherwise on another.
    engine      text not null,
    generation  text not null,
    answer      text not null,
    primary key (checkpoint, engine, generation)
);
create index replays_by_generation on replays (generation);
create index replays_by_cycle on replays (cycle);
