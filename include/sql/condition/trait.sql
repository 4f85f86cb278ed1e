-- For whom the condition :node holds: the customer's :trait (country, locale, or an attribute of this name) is one of :values.
insert into planned_conditions (node, enrollment_id)
select :node, p.enrollment_id
from planned_people p
join as_of.customers c using (customer_id)
where case cast(:trait as text)
          when 'country' then c.country
          when 'locale' then c.locale
          else c.attributes ->> substr(:trait, 12)
      end = any(cast(:values as text[]))
