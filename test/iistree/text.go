package iistree

const header = `<?xml version="1.0" encoding="UTF-8"?>
<!--

    Configuration of the web server.

    A section is unlocked for a site by a location tag:

        <location path="Default Web Site" overrideMode="Allow">
            <system.webServer>
                <rewrite>
                    <rules />
                </rewrite>
            </system.webServer>
        </location>

-->

<configuration>

    <configSections>
        <sectionGroup name="system.applicationHost">
            <section name="applicationPools" allowDefinition="AppHostOnly" overrideModeDefault="Deny" />
            <section name="configHistory" allowDefinition="AppHostOnly" overrideModeDefault="Deny" />
            <section name="log" allowDefinition="AppHostOnly" overrideModeDefault="Deny" />
            <section name="sites" allowDefinition="AppHostOnly" overrideModeDefault="Deny" />
            <section name="webLimits" allowDefinition="AppHostOnly" overrideModeDefault="Deny" />
        </sectionGroup>

        <sectionGroup name="system.webServer">
            <section name="defaultDocument" overrideModeDefault="Allow" />
            <section name="globalModules" allowDefinition="AppHostOnly" overrideModeDefault="Deny" />
            <section name="handlers" overrideModeDefault="Deny" />
            <section name="httpErrors" overrideModeDefault="Allow" />
            <section name="httpProtocol" overrideModeDefault="Allow" />
            <section name="modules" allowDefinition="MachineToApplication" overrideModeDefault="Deny" />
            <sectionGroup name="security">
                <section name="access" overrideModeDefault="Deny" />
                <section name="requestFiltering" overrideModeDefault="Allow" />
            </sectionGroup>
            <section name="staticContent" overrideModeDefault="Allow" />
            <section name="urlCompression" overrideModeDefault="Allow" />
`

const rewriteSections = `            <sectionGroup name="rewrite">
                <section name="globalRules" overrideModeDefault="Deny" allowDefinition="AppHostOnly" />
                <section name="rules" overrideModeDefault="Allow" />
                <section name="outboundRules" overrideModeDefault="Allow" />
                <section name="providers" overrideModeDefault="Allow" />
                <section name="rewriteMaps" overrideModeDefault="Allow" />
                <section name="allowedServerVariables" overrideModeDefault="Deny" />
            </sectionGroup>
`

const afterSections = `        </sectionGroup>
    </configSections>

    <configProtectedData>
        <providers>
            <add name="AesProvider" type="Microsoft.ApplicationHost.AesProtectedConfigurationProvider" description="Uses an AES session key to encrypt and decrypt" keyContainerName="iisConfigurationKey" cspProviderName="" useOAEP="false" useMachineContainer="true" />
        </providers>
    </configProtectedData>

    <system.applicationHost>

        <applicationPools>
`

const afterPools = `            <applicationPoolDefaults managedRuntimeVersion="v4.0">
                <processModel identityType="ApplicationPoolIdentity" loadUserProfile="true" />
            </applicationPoolDefaults>
        </applicationPools>

        <configHistory />

        <log>
            <centralW3CLogFile enabled="true" directory="%SystemDrive%\inetpub\logs\LogFiles" />
        </log>

        <sites>
`

// siteFormat takes name, id, pool, port, host name and address.
const siteFormat = `            <site name="%s" id="%d" serverAutoStart="true">
                <application path="/" applicationPool="%[3]s">
                    <virtualDirectory path="/" physicalPath="%%SystemDrive%%\inetpub\wwwroot" />
                </application>
                <application path="/owa" applicationPool="%[3]s">
                    <virtualDirectory path="/" physicalPath="%%SystemDrive%%\inetpub\wwwroot\owa" />
                </application>
                <bindings>
                    <binding protocol="http" bindingInformation="%[6]s:%[4]d:" />
                    <binding protocol="http" bindingInformation="%[6]s:%[4]d:%[5]s" />
                </bindings>
            </site>
`

// bindings is where the applications of a site end.
const bindings = "                <bindings>\n"

// applicationFormat takes path, pool, and the path with backslashes.
const applicationFormat = `                <application path="%s" applicationPool="%s">
                    <virtualDirectory path="/" physicalPath="%%SystemDrive%%\inetpub\wwwroot%s" />
                </application>
`

const afterSites = `            <siteDefaults>
                <logFile logFormat="W3C" directory="%SystemDrive%\inetpub\logs\LogFiles" />
            </siteDefaults>
            <applicationDefaults applicationPool="DefaultAppPool" />
        </sites>

        <webLimits />

    </system.applicationHost>
`

const modules = `
    <system.webServer>

        <defaultDocument enabled="true">
            <files>
                <add value="Default.htm" />
                <add value="index.html" />
            </files>
        </defaultDocument>

        <globalModules>
            <add name="HttpLoggingModule" image="%windir%\System32\inetsrv\loghttp.dll" />
            <add name="StaticFileModule" image="%windir%\System32\inetsrv\static.dll" />
            <add name="RequestFilteringModule" image="%windir%\System32\inetsrv\modrqflt.dll" />
        </globalModules>

        <httpProtocol>
            <customHeaders>
                <clear />
                <add name="X-Note" value="one&#xA;two &amp; &quot;three&quot;" />
            </customHeaders>
        </httpProtocol>

    </system.webServer>
`

const emptyLocation = `    <location path="" overrideMode="Allow">
        <system.webServer>

            <handlers accessPolicy="Read, Script">
                <add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule" resourceType="Either" requireAccess="Read" />
            </handlers>

            <modules>
                <add name="HttpLoggingModule" lockItem="true" />
                <add name="StaticFileModule" lockItem="true" />
                <add name="RequestFilteringModule" lockItem="true" />
                <add name="RewriteModule" />
            </modules>

        </system.webServer>
    </location>
`

// locationFormat takes the path and the text of a rewrite section.
const locationFormat = `    <location path="%s">
        <system.webServer>
            <security>
                <access sslFlags="None" />
            </security>
%s            <urlCompression doDynamicCompression="false" />
        </system.webServer>
    </location>
`

// redirection has no declaration and no final line end, as on real servers.
const redirection = `<configuration>

    <configSections>
        <section name="configurationRedirection" />
    </configSections>

    <configurationRedirection />

</configuration>`

const webConfig = `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <system.webServer>
    <httpErrors errorMode="DetailedLocalOnly" />
  </system.webServer>
</configuration>
`
