-- Put letters into the outbox; one that is there already stays as it is.
insert into outbox (message_id, channel, mode, address, locale, subject, html, text, encoding, segments, accepted_at)
select message_id, channel, mode, address, locale, subject, html, text, encoding, segments, :now
from jsonb_to_recordset(cast(:letters as jsonb)) as letter (
    message_id bigint, channel text, mode text, address text, locale text, subject text, html text, text text,
    encoding text, segments smallint)
order by message_id
on conflict (message_id) do nothing
