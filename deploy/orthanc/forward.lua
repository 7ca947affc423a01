-- Orthanc sends each study to the node once no image has come for a while (StableAge of orthanc.json).
-- In orthanc.json:  "LuaScripts": ["forward.lua"], "DicomModalities": { "lookalike": ["LOOKALIKE", "HOST", 11112] }
-- Answers of the node (reports and sheets of similar cases) stay out: they came from it.

local NODE = 'lookalike'        -- name in DicomModalities
local NODE_TITLE = 'LOOKALIKE'  -- its AE title

function OnStableStudy(study, tags, metadata)
  local own = {}
  for _, instance in ipairs(ParseJson(RestApiGet('/studies/' .. study .. '/instances'))) do
    local known = RestApiGet('/instances/' .. instance['ID'] .. '/metadata?expand')
    if ParseJson(known)['RemoteAET'] ~= NODE_TITLE then
      table.insert(own, instance['ID'])
    end
  end
  if #own > 0 then
    RestApiPost('/modalities/' .. NODE .. '/store', DumpJson({ Resources = own, Asynchronous = true }, true))
  end
end
