-- The next request of a chat session says what the user thought of the answer before it.

create index generations_by_chat on generations (tenant, session, created_at)
    where endpoint = 'chat' and session is not null;
