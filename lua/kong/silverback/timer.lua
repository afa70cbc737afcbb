-- kong.timer over ngx.timer: at, every, and the named ones, which can be cancelled.

local ngx = ngx

local _M = {}

local Timer = {}
Timer.__index = Timer


-- Runs unless the name was cancelled meanwhile.
local function run(premature, self, name, again, callback, ...)
  local job = self.jobs[name]
  if premature or not job or job.cancelled then
    self.jobs[name] = nil
    if premature then
      callback(true, ...)
    end
    return
  end
  if not again then
    self.jobs[name] = nil
  end
  local ok, err = xpcall(callback, debug.traceback, false, ...)
  if not ok then
    ngx.log(ngx.ERR, "[kong] timer ", name, " failed: ", err)
  end
  if again and self.jobs[name] == job and not job.cancelled then
    ngx.timer.at(again, run, self, name, again, callback, ...)
  end
end


local function start(self, name, delay, again, callback, ...)
  if self.jobs[name] then
    return nil, "already exists timer"
  end
  self.jobs[name] = { cancelled = false }
  local ok, err = ngx.timer.at(delay, run, self, name, again, callback, ...)
  if not ok then
    self.jobs[name] = nil
    return nil, err
  end
  return name
end


local function next_name(self)
  self.last = self.last + 1
  return "unnamed#" .. self.last
end


function Timer:at(delay, callback, ...)
  return start(self, next_name(self), delay, nil, callback, ...)
end


function Timer:every(interval, callback, ...)
  return start(self, next_name(self), interval, interval, callback, ...)
end


function Timer:named_at(name, delay, callback, ...)
  return start(self, name, delay, nil, callback, ...)
end


function Timer:named_every(name, interval, callback, ...)
  return start(self, name, interval, interval, callback, ...)
end


function Timer:cancel(name)
  local job = self.jobs[name]
  if not job then
    return nil, "timer not found"
  end
  job.cancelled = true
  self.jobs[name] = nil
  return true
end


function _M.new()
  return setmetatable({ jobs = {}, last = 0 }, Timer)
end


return _M
