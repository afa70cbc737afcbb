-- Points in time, in milliseconds, cut to calendar periods (UTC).

local _M = {}

_M.timestamp_table_fields = { "sec", "min", "hour", "day", "month", "year" }


function _M.get_utc_ms()
  return ngx.now() * 1000
end


function _M.get_utc()
  return math.floor(ngx.now()) * 1000
end


function _M.get_timetable(now)
  return os.date("!*t", now and math.floor(now / 1000) or ngx.time())
end


-- Days since 1970-01-01 of a civil date.
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local leap = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leap + math.floor((153 * month - 457) / 5) + day - 719469
end


local function ms(year, month, day, hour, min, sec)
  return (days(year, month, day) * 86400 + hour * 3600 + min * 60 + sec) * 1000
end


-- When the current second, minute … year began.
function _M.get_timestamps(now)
  local t = _M.get_timetable(now)
  return {
    second = ms(t.year, t.month, t.day, t.hour, t.min, t.sec), minute = ms(t.year, t.month, t.day, t.hour, t.min, 0),
    hour = ms(t.year, t.month, t.day, t.hour, 0, 0), day = ms(t.year, t.month, t.day, 0, 0, 0),
    month = ms(t.year, t.month, 1, 0, 0, 0), year = ms(t.year, 1, 1, 0, 0, 0),
  }
end


return _M
