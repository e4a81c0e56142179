-- Health of a ClusteringJob for Argo CD. The conditions are those of kstatus, so that every state has one meaning.
local function condition(kind)
  for _, found in ipairs(obj.status and obj.status.conditions or {}) do
    if found.type == kind then
      return found
    end
  end
end

local function health(status, source)
  return { status = status, message = source and source.message or "Waiting for the operator" }
end

-- What status says is about an older spec: nothing is known about this one.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing")
end

local stalled = condition("Stalled")
if stalled and stalled.status == "True" then
  return health("Degraded", stalled)
end

local suspended = condition("Suspended")
if suspended and suspended.status == "True" then
  return health("Suspended", suspended)
end

-- The model of an earlier run may still be in service, but the schedule is not being kept.
local run = obj.status.run
if obj.spec.schedule and run and run.state == "Failed" then
  return health("Degraded", run)
end

local ready = condition("Ready")
if ready and ready.status == "True" then
  return health("Healthy", ready)
end

local reconciling = condition("Reconciling")
if reconciling and reconciling.status == "True" then
  return health("Progressing", reconciling)
end
return health("Progressing", ready)
