-- Everybody's points of value, in the temporary table value_scores: of a scale of 100 steps how many are reached, so the share
-- of those who have any of it that have no more. Weights add up to 1 over what anybody has; the points of what nobody has are
-- null. Purchases are twelve parts: two kinds, two periods, three facts.
create temporary table value_scores on commit drop as
with pointed as (
    select customer_id,
           case when :has_purchases then
               coalesce(points_on(necessary_recent_amount, cast(:necessary_recent_amount_scale as float8[])), 0)
                 * cast(:necessary_recent_amount_weight as float8)
               + coalesce(points_on(necessary_recent_orders, cast(:necessary_recent_orders_scale as float8[])), 0)
                 * cast(:necessary_recent_orders_weight as float8)
               + coalesce(points_on(-necessary_recent_interval, cast(:necessary_recent_interval_scale as float8[])), 0)
                 * cast(:necessary_recent_interval_weight as float8)
               + coalesce(points_on(necessary_before_amount, cast(:necessary_before_amount_scale as float8[])), 0)
                 * cast(:necessary_before_amount_weight as float8)
               + coalesce(points_on(necessary_before_orders, cast(:necessary_before_orders_scale as float8[])), 0)
                 * cast(:necessary_before_orders_weight as float8)
               + coalesce(points_on(-necessary_before_interval, cast(:necessary_before_interval_scale as float8[])), 0)
                 * cast(:necessary_before_interval_weight as float8)
               + coalesce(points_on(discretionary_recent_amount, cast(:discretionary_recent_amount_scale as float8[])), 0)
                 * cast(:discretionary_recent_amount_weight as float8)
               + coalesce(points_on(discretionary_recent_orders, cast(:discretionary_recent_orders_scale as float8[])), 0)
                 * cast(:discretionary_recent_orders_weight as float8)
               + coalesce(points_on(-discretionary_recent_interval, cast(:discretionary_recent_interval_scale as float8[])), 0)
                 * cast(:discretionary_recent_interval_weight as float8)
               + coalesce(points_on(discretionary_before_amount, cast(:discretionary_before_amount_scale as float8[])), 0)
                 * cast(:discretionary_before_amount_weight as float8)
               + coalesce(points_on(discretionary_before_orders, cast(:discretionary_before_orders_scale as float8[])), 0)
                 * cast(:discretionary_before_orders_weight as float8)
               + coalesce(points_on(-discretionary_before_interval, cast(:discretionary_before_interval_scale as float8[])), 0)
                 * cast(:discretionary_before_interval_weight as float8)
           end as purchases,
           points_on(referrals, cast(:referrals_scale as float8[])) as referrals,
           points_on(advocacy, cast(:advocacy_scale as float8[])) as advocacy,
           points_on(answers, cast(:answers_scale as float8[])) as answers,
           points_on(participation, cast(:participation_scale as float8[])) as participation,
           points_on(surveys, cast(:surveys_scale as float8[])) as surveys,
           points_on(suggestions, cast(:suggestions_scale as float8[])) as suggestions
    from value_inputs
    offset 0
)
select customer_id,
       cast(round(cast(
           coalesce(purchases, 0) * cast(:purchases_weight as float8)
           + coalesce(referrals, 0) * cast(:referrals_weight as float8)
           + coalesce(advocacy, 0) * cast(:advocacy_weight as float8)
           + coalesce(answers, 0) * cast(:answers_weight as float8)
           + coalesce(participation, 0) * cast(:participation_weight as float8)
           + coalesce(surveys, 0) * cast(:surveys_weight as float8)
           + coalesce(suggestions, 0) * cast(:suggestions_weight as float8)
           as numeric), 2) as real) as points,
       cast(round(cast(purchases as numeric), 2) as real) as purchases,
       cast(referrals as real) as referrals, cast(advocacy as real) as advocacy, cast(answers as real) as answers,
       cast(participation as real) as participation, cast(surveys as real) as surveys, cast(suggestions as real) as suggestions
from pointed
