-- Clicks that no person made: sooner after an e-mail's delivery than it can be read, or within seconds of a click on another
-- link of the same message. What shows it may come after the click.
update outcomes c
set is_machine = true
where c.message_id = any(cast(:ids as bigint[]))
  and c.kind = 'clicked'
  and not c.is_machine
  and (exists (
          select from outcomes d
          where d.message_id = c.message_id and d.kind = 'delivered' and d.provider = any(cast(:mailers as text[]))
            and c.occurred_at <= d.occurred_at + cast(:no_reader as interval))
       or exists (
          select from outcomes o
          where o.message_id = c.message_id and o.kind = 'clicked'
            and coalesce(o.link_id, o.link_key) <> coalesce(c.link_id, c.link_key)
            and o.occurred_at between c.occurred_at - cast(:no_hand as interval)
                                  and c.occurred_at + cast(:no_hand as interval)))
