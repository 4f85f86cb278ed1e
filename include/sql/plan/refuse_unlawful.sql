-- Who has not agreed to what the law of the country asks for on this channel: planned_decisions are given the reason
-- no_consent. :countries and :subjects pair each country with one thing it asks for: a choice that must have been granted
-- (`abroad`), one that must not have been refused (`profiling`, topics), `adult`: not known to be under :adult_age, or
-- `wording`: the consent is on record with the words that were shown.
update planned_decisions d
set way_reason = 'no_consent', reason = 'no_consent'
from unnest(cast(:countries as text[]), cast(:subjects as text[])) as needed (country, subject)
where d.channel = :channel and d.reason is null and d.country = needed.country
  and case
          when needed.subject = 'adult' then exists (
              select from as_of.customers c
              where c.customer_id = d.customer_id and c.birth_year is not null
                and c.birth_year >= extract(year from cast(:due_at as timestamptz)) - :adult_age)
          when needed.subject = 'wording' then (
              select k.wording from consents k
              where k.customer_id = d.customer_id and k.channel = d.channel and k.purpose = :purpose and k.is_granted
                and k.occurred_at <= :seen_at and k.recorded_at <= :seen_at
              order by k.occurred_at desc, k.consent_id desc
              limit 1) is null
          else not coalesce((
              select c.is_granted from as_of.choices c
              where c.customer_id = d.customer_id and c.subject = needed.subject
              order by c.occurred_at desc
              limit 1), needed.subject <> 'abroad')
      end
