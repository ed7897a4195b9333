-- What users of a chat say next is a reaction to the answer before it. Read once, it counts in a
-- canary as it does in learning, and what says nothing takes no place in a cycle.
create table follow_ups (
    day date not null,
    generation text not null,
    at timestamptz not null,
    mood text not null check (mood in ('dissatisfied', 'satisfied', 'neutral')),
    classifier text not null,
    primary key (day, generation)
);
comment on table follow_ups is
'How the user''s next message sounded, of chat answers whose session went on and to which nobody had reacted otherwise. Written by the workers; what a message says stays in generations.';
comment on column follow_ups.day is 'The day of the answer.';
comment on column follow_ups.generation is 'The answer that the message came after.';
comment on column follow_ups.at is 'When the session''s next request came.';
comment on column follow_ups.mood is
'What the classifier said of the message; neutral also where the next request was of another conversation.';
comment on column follow_ups.classifier is
'The function that read it (rewards.classifier); where another one is set, it is read again.';
create index follow_ups_telling on follow_ups (at) where mood <> 'neutral';

create table hearings (
    model text primary key,
    classifier text not null,
    until timestamptz not null,
    whole timestamptz not null,
    back integer not null default 0
);
comment on table hearings is 'How far the next messages of each model''s chats have been heard.';
comment on column hearings.model is 'The model that was asked.';
comment on column hearings.classifier is 'The function that heard them; where another one is set, it begins anew.';
comment on column hearings.until is
'Requests from before were heard, but for those that were recorded late. Looks at a canary begin an hour before it.';
comment on column hearings.whole is
'As until, of what cycles heard as they began; they begin a day before it, so that what looks were too early for is heard.';
comment on column hearings.back is
'How often a day was brought back, which is to be heard anew; whoever began before that moves nothing on.';
