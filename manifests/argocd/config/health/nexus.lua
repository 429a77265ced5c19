-- Health of a RagIndex, ServingModel or FineTuneJob, from its conditions.
local on_the_way = {
  Starting = true, Recreating = true, Surging = true, Syncing = true, NotSynced = true,
  Running = true, Checking = true, Waiting = true, IndexNotReady = true, Stopping = true,
  ServingModelMissing = true, Recovering = true,
}
local paused = { Suspended = true, NotOffered = true }

local function says(condition)
  return condition.reason .. ": " .. condition.message
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "is being deleted" }
end

local found = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    found[condition.type] = condition
  end
end

local ready = found.Ready
if ready == nil then
  return { status = "Progressing", message = "the operator has not looked at it yet" }
end
-- a condition without the field speaks of whatever is there now
if ready.observedGeneration ~= nil and ready.observedGeneration < obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen the last change yet" }
end
if ready.status == "True" then
  if paused[ready.reason] then
    return { status = "Suspended", message = says(ready) }
  end
  if found.Degraded ~= nil and found.Degraded.status == "True" then
    return { status = "Degraded", message = says(found.Degraded) }
  end
  return { status = "Healthy", message = ready.message }
end
if paused[ready.reason] then
  return { status = "Suspended", message = says(ready) }
end
if on_the_way[ready.reason] then
  return { status = "Progressing", message = says(ready) }
end
return { status = "Degraded", message = says(ready) }
